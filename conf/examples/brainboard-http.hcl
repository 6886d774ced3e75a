# stateferry: Brainboard with states behind terraform's HTTP protocol, copied to a folder. The form: address, lock and unlock address, the three
# methods, user, password, and whether the certificate is checked. It has room for one architecture, unless the address follows the UUID.

agent {
  store = "/var/lib/stateferry"
}

backend "brainboard" "live" {
  token = env("BRAINBOARD_TOKEN") # nothing can be listed here: the API says which there are, or architectures = ["UUID"]

  storage "http" {
    address        = "https://state.example.com/brainboard/{uuid}"
    lock_address   = "https://state.example.com/brainboard/{uuid}/lock"
    unlock_address = "https://state.example.com/brainboard/{uuid}/lock"
    update_method  = "POST"
    lock_method    = "LOCK"
    unlock_method  = "UNLOCK"
    username       = "stateferry"
    password       = env("STATE_PASSWORD")

    skip_cert_verification = false
  }

  architecture "9b2e0c1a-6f0e-4c8e-9d5b-0a8f3c1d2e4f" { # the form of one architecture
    storage "http" {
      address        = "https://state.example.com/payments"
      lock_address   = "https://state.example.com/payments/lock"
      unlock_address = "https://state.example.com/payments/lock"
      username       = "stateferry"
      password       = env("STATE_PASSWORD")
    }
  }
}

backend "local" "copy" {
  dir = "/srv/brainboard-copy"
}

replicate "live-to-copy" {
  from = "live"
  to   = ["copy"]
}
