backend "a" "b" {
  str = 5.50
  path = "x/y"
  secret = env("SET")
  yes = "0"
  i = -1e3
  ms = "1h30m"
  seconds = "4"
  percent = "50%"
  size = "64KiB"
  strs = ["a", 1, true]
  map = { a = "b", "c d" = 2 }
  mode = "archive"
}
state "x" { str = file("x") }
state { later = "x" }
states { strs = "a" }
