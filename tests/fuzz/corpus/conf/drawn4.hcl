  k00   =	{
in /* c */ = <<-a-b
$
$
# no comment
  a-b
true /* c */ = 1,
}
  k01   =	env(
"SET"
)
state {
	k10 = "  #"

k11=null
  b {
k20 =
null
k21 = "'"
	k22 = <<a-b
$${a} %%{b}
a-b
  }
}
# end  k00   =	""
	backend { null   =	30 } # c
k02   =	env ("SET") # c
	k03=123456789012345678901 /* c */
# end