# stateferry: states in Google Cloud Storage, copied to a folder. The token comes from somebody who renews it, for instance from a cron
# line: GOOGLE_OAUTH_ACCESS_TOKEN=$(gcloud auth print-access-token) stateferry sync

agent {
  store = "/var/lib/stateferry"
}

# The body of a backend "gcs" block of terraform works here; prefix is its own argument.
backend "gcs" "live" {
  bucket       = "acme-tfstate"
  prefix       = "prod"
  access_token = env("GOOGLE_OAUTH_ACCESS_TOKEN")
}

backend "local" "copy" {
  dir = "/srv/tfstate-copy"
}

replicate "live-to-copy" {
  from = "live"
  to   = ["copy"]
}
