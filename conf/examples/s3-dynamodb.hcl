# stateferry: states in S3 that terraform locks by rows of a DynamoDB table, the way before use_lockfile. The table also holds the MD5 of
# each state: it is compared with what is read, and written with what is written.

agent {
  store = "/var/lib/stateferry"
}

backend "s3" "live" {
  bucket         = "acme-tfstate"
  region         = "eu-central-1"
  dynamodb_table = "terraform-locks" # partition key LockID, a string; dynamodb:GetItem is enough for a source
}

# While a team moves from one kind of lock to the other: both are taken, the object first. Name all that the writers of a bucket use.
backend "s3" "dr" {
  bucket         = "acme-tfstate-dr"
  region         = "eu-west-3"
  dynamodb_table = "terraform-locks" # GetItem, PutItem, DeleteItem
  use_lockfile   = true

  # endpoints = { # a store of the same protocols elsewhere
  #   s3       = "https://s3.example.com"
  #   dynamodb = "https://dynamodb.example.com"
  # }
}

replicate "live-to-dr" {
  from = "live"
  to   = ["dr"]
}
