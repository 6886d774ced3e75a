a = "${var.x}"
b = [for x in y : x]
c = 1 + f(x)[*].z ? (1) : "%{if}"
