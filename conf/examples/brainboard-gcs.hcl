# stateferry: Brainboard with its states in Google Cloud Storage, copied to a folder. The form: bucket, project.

agent {
  store = "/var/lib/stateferry"
}

backend "brainboard" "live" {
  token = env("BRAINBOARD_TOKEN")

  storage "gcs" {
    bucket  = "acme-brainboard"
    project = "acme-platform" # only to make a missing bucket
  }
}

backend "local" "copy" {
  dir = "/srv/brainboard-copy"
}

replicate "live-to-copy" {
  from = "live"
  to   = ["copy"]
}
