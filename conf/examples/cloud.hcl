# stateferry: workspaces of HCP Terraform (Terraform Cloud), copied to a folder, and some to an installation of Enterprise. The token is the
# one of "terraform login" or TF_TOKEN_app_terraform_io, best that of a team; of a source it needs "read state versions" and no more.

agent {
  store = "/var/lib/stateferry"
}

# What terraform has already: the folder's cloud block.
backend "cloud" "network" {
  from_file = "/srv/network/versions.tf"
}

# Every workspace of an organization that has these tags; without the block workspaces all that the token sees.
backend "cloud" "tagged" {
  organization = "acme"

  workspaces {
    tags = { env = "prod" }
    # project = "shop"
  }

  # backfill = 100 # how many of the versions from before the first look are read, and between two looks; 0: none
}

backend "local" "copy" {
  dir = "/mnt/backup/terraform"
}

# A replica is a workspace for execution mode "local", which stores states and runs nothing; its token needs to read and write state
# versions, to lock and to unlock, and to make workspaces.
backend "cloud" "standby" {
  hostname     = "tfe.example.com"
  organization = "acme"
  create       = true
}

replicate "network" {
  from = "network"
  to   = ["copy"]
  key  = "network/{name}"
}

replicate "tagged" {
  from = "tagged"
  to   = ["copy", "standby"]
}
