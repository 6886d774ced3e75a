a { b = 1 }
c {}
d e "f" { # x
  /* y */ g = 1 // z
}
