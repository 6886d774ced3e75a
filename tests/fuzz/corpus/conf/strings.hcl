a = "\n\r\t\"\\\u00e9\U0001F600 $${x} %%{y} $$$${z}"
b = "https://u:p@h/x?y"
