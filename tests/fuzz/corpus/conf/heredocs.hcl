a = <<-E
    x $${y}
  
		z
  E
b = [<<E
x
E
, 2]
