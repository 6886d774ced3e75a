  backend "/*$$${\U0001F600\n}" {
	k10 = [/*
*/"%%{#" # c
,
]
  k11 = [/*
*/true/*
*/, # c
env ("SET") ]

  backend " " "" { # c
	backend "x" in {
k30   =	file("x")
	k31=2.50E-2 # c
}
} // c
  }

	k01=[/* c */]
	k00=1e3

  b "" for {
  k10   =	{
}
	backend {
k20 = env(
"SET"
)
} /* c */
  state if "\U0001F600'\$" { # c
	k20=-0.5 /* c */
  state "$${" "$${%<<E \\" { # c
k30=1 // c
  k31={"b c\"$$" /* c */ = "\""

A=2.50E-2,
a = <<E
	E
}
}
  k22 = { }
  }
	k13   =	env("SET", "d")

}
	k02 = ["{"/*
*/

]

  state "x" "x" {
backend { # c
k20=[ # c
"b c$$${\u00e9%%$$"

] // c
b {
}
}
	b a "x" {
state "x" "$$" { # c
  k30 = 2.50E-2
  }
  k21   =	""
  k22 = "#"
k23=""

  }
  k12 = -0
  state x1 "x" {
}
  } /* c */
