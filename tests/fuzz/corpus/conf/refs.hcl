a = env("SET")
b = env("NO", env("NO", 5,),)
c = [file("x"), { d = env(
"NO", null) }]
