# stateferry: states behind terraform's "http" backend. The arguments, defaults and TF_HTTP_* variables are terraform's own.

agent {
  store = "/var/lib/stateferry"
}

# One state, called "default": the body of a terraform backend "http" block, pasted.
backend "http" "legacy" {
  address        = "https://state.example.com/prod"
  lock_address   = "https://state.example.com/prod/lock" # without both lock addresses nothing is locked, and
  unlock_address = "https://state.example.com/prod/lock" # the backend can only be read (or set exclusive = true)
  username       = "stateferry"
  password       = env("LEGACY_PASSWORD", "")

  # lock_method            = "POST" # Gitea, Forgejo: POST and DELETE; GitLab has an example of its own
  # unlock_method          = "DELETE"
  # update_method          = "PUT"
  # retry_max              = 2
  # retry_wait_min         = 1 # seconds
  # retry_wait_max         = 30
  # skip_cert_verification = false
  # client_ca_certificate_pem = file("/etc/stateferry/ca.pem")
  # client_certificate_pem    = file("/etc/stateferry/client.pem")
  # client_private_key_pem    = file("/etc/stateferry/client.key")
  # headers                   = { X-Api-Key = env("API_KEY") }
  # unix_socket               = "/run/states.sock" # connect there, whatever host the addresses name
}

# Many states: {name} is replaced in all three addresses, "/" in a name as "%2F". A target need not list `states`.
backend "http" "team" {
  address        = "https://state.example.com/team/{name}"
  lock_address   = "https://state.example.com/team/{name}/lock"
  unlock_address = "https://state.example.com/team/{name}/lock"
  states         = ["network/prod", "network/test"]
}

backend "local" "copy" {
  dir = "/mnt/backup/terraform"
}

replicate "legacy-to-copy" {
  from = "legacy"
  to   = ["copy"]
  key  = "legacy/{name}"
}

replicate "team-to-copy" {
  from = "team"
  to   = ["copy"]
  key  = "team/{name}"
}
