# stateferry: Brainboard with its states in S3, copied to a folder. The form: bucket, region, DynamoDB table.

agent {
  store = "/var/lib/stateferry"
}

backend "brainboard" "live" {
  region = "us1" # of the API, or "apac1"
  token  = env("BRAINBOARD_TOKEN")

  storage "s3" {
    bucket         = "acme-brainboard"
    region         = "eu-central-1"
    dynamodb_table = "terraform-locks" # left out in the form, Brainboard takes no lock, and a restore needs exclusive = true
  }
}

backend "local" "copy" {
  dir = "/srv/brainboard-copy"
}

replicate "live-to-copy" {
  from = "live"
  to   = ["copy"]
  key  = "{alias}" # PROJECT/ENVIRONMENT/NAME
}
