	k00   =	[1 ,/* c */30

] /* c */
	k01   =	""
	k02   =	{b: "b c{]b c/*",
}
	backend in "x" { # c
k10 = <<E
	 tab
x

  x
  E
b {
k20="é"
	k21=[/* c */] # c
  k22   =	2.50E-2
} # c
  k12 = null
	k13=-0 # c
}
	k01 = "\u00e9'\"éé"

