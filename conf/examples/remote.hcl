# stateferry: the workspaces of HCP Terraform (Terraform Cloud), copied to a folder; and a folder's states, to Terraform Enterprise.

agent {
  store = "/var/lib/stateferry"
}

# The body of a cloud block of terraform works here. The token is where terraform takes it: TF_TOKEN_app_terraform_io, or what
# "terraform login" left. That of a team that may read state versions is enough.
backend "cloud" "hcp" {
  organization = "acme"

  workspaces {
    tags = ["production"]
  }
}

# Backend "remote" names the same by a prefix. A target's token has to be a user's or a team's, which may lock, and write state versions.
backend "remote" "enterprise" {
  hostname     = "tfe.example.com"
  organization = "acme-dr"
  create       = true # makes workspaces that only hold states

  # ca_file = "/etc/stateferry/ca.pem"

  workspaces {
    prefix = "copy-"
  }
}

backend "local" "copy" {
  dir = "/mnt/backup/terraform"
}

backend "local" "states" {
  dir = "/srv/terraform"

  state "network/prod.tfstate" {
    alias = "network-prod"
  }
}

replicate "hcp-to-copy" {
  from = "hcp"
  to   = ["copy"]
}

# A workspace's name has letters, digits, "-" and "_": each state gets one by its alias.
replicate "states-to-enterprise" {
  from = "states"
  to   = ["enterprise"]
  key  = "{alias}"
}
