	k00 = 1e80
	k01   =	"/*<<E}"
k02=true // c
k03   =	"=$$" // c

  k00=1e80 # c
# end