# stateferry: Brainboard to S3. Which architectures there are, its API says; their states lie in the storage that the organization chose in
# Brainboard's settings, here Azure Blob Storage.

agent {
  store = "/var/lib/stateferry"
}

backend "brainboard" "live" {
  token = env("BRAINBOARD_TOKEN") # from the user's settings; without it states have no other names than UUIDs

  storage "azurerm" { # as the form has it
    storage_account_name = "acmestates"
    container_name       = "tfstate"
    access_key           = env("ARM_ACCESS_KEY")
  }

  # One architecture with storage of its own, in Brainboard's settings and here:
  # architecture "9b2e0c1a-6f0e-4c8e-9d5b-0a8f3c1d2e4f" {
  #   storage "gcs" {
  #     bucket = "acme-payments"
  #   }
  # }

  # Only some of them:
  # select {
  #   project     = "payments" # UUID or glob
  #   environment = "prod*"
  #   status      = "Deployed"
  # }
}

backend "s3" "dr" {
  bucket       = "acme-tfstate-dr"
  region       = "eu-west-3"
  use_lockfile = true
  create       = true # make the bucket if it is missing
}

replicate "brainboard-to-s3" {
  from = "live"
  to   = ["dr"]
  key  = "{uuid}/terraform.tfstate" # or "{alias}", which is PROJECT/ENVIRONMENT/NAME
}
