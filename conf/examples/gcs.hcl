# stateferry: states in Google Cloud Storage, copied to a bucket of another project.

agent {
  store = "/var/lib/stateferry"
}

# The body of a backend "gcs" block of terraform works here; prefix is its own argument. Without credentials it takes what terraform would:
# GOOGLE_CREDENTIALS, GOOGLE_APPLICATION_CREDENTIALS, the login of gcloud, the account of the machine.
backend "gcs" "live" {
  bucket = "acme-tfstate"
  prefix = "prod"
}

# As another account, that of the other project: it needs Storage Object User on the bucket there, and who asks needs Service Account Token
# Creator on it.
backend "gcs" "dr" {
  bucket                      = "acme-tfstate-dr"
  prefix                      = "prod"
  impersonate_service_account = "tfstate-writer@acme-dr.iam.gserviceaccount.com"

  # credentials = "/etc/stateferry/gcp.json" # a key, a login or a federation; read again for each token
}

replicate "live-to-dr" {
  from = "live"
  to   = ["dr"]
}
