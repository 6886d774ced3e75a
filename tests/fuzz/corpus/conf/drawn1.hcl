  k00=[<<-E
  x
$${a} %%{b}
	 tab
E
/* c */,

-0 ,{
"é\n": env(
"SET"
), bucket /* c */ = -0.5,"\r" : 1.5,}
]
# endbackend {
	b true "x" { # c
	k20=""
k21 = true
	k22 = "\\\\"

	k23="" # c
  }
b {
	k20={ } /* c */
  }
	backend "x" { true   =	1e80 }
  } // c
  backend " é$$é}" { # c
k10=<<_1
  nbsp
	_1
k11 = [
"",

"\r" # c
/*
*/]

}
	backend "x" b {
  k10 = [ # c
"\\" # c
/*
*/]

k11=[-1



] /* c */
  k12   =	"b ca"

  state _x x1 { # c
  k20 = []
  }
}
