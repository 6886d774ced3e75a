# stateferry: three agents with this same file share the work. Each replication is run by one of them; when it ends, dies, hangs or keeps
# failing, another takes over within two ttl. Here the leases lie in a table of DynamoDB, because an http backend cannot carry them.

agent {
  store = "/var/lib/stateferry"
  # name: the host's; it is what "status" and locks show
}

backend "s3" "live" {
  bucket       = "acme-tfstate"
  region       = "eu-central-1"
  use_lockfile = true
}

backend "http" "dr" {
  address        = "https://states.dr.example.com/{name}"
  lock_address   = "https://states.dr.example.com/{name}/lock"
  unlock_address = "https://states.dr.example.com/{name}/lock"
}

replicate "live-to-dr" {
  from = "live"
  to   = ["dr"]

  lease {
    coordinator = "dynamodb"
    ttl         = "60s" # no clock of one host is compared with another's

    dynamodb {
      table  = "terraform-locks" # partition key LockID, a string: terraform's lock table will do; GetItem, PutItem
      region = "eu-central-1"
      # prefix = "fleet-b/" # for a second fleet in the same table; default ".stateferry/"

      # Credentials as in a backend "s3": access_key and secret_key, profile, the environment, or a role:
      # assume_role {
      #   role_arn = "arn:aws:iam::111122223333:role/stateferry-leases"
      # }
    }
  }
}
