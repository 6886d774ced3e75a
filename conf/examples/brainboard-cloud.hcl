# stateferry: an architecture of Brainboard whose state is a workspace of Terraform Cloud, copied to a folder. The form: hostname, organization,
# workspace, token. It names one workspace, so it is that of one architecture; the others here are left in Brainboard's managed storage,
# which nothing outside can reach: they are counted as uncovered.

agent {
  store = "/var/lib/stateferry"
}

backend "brainboard" "live" {
  token = env("BRAINBOARD_TOKEN")

  storage "managed" {
  }

  architecture "9b2e0c1a-6f0e-4c8e-9d5b-0a8f3c1d2e4f" {
    storage "cloud" {
      hostname     = "app.terraform.io"
      organization = "acme"
      token        = env("TFC_TOKEN")

      workspaces {
        name = "brainboard-payments"
      }
    }
  }
}

backend "local" "copy" {
  dir = "/srv/brainboard-copy"
}

replicate "live-to-copy" {
  from = "live"
  to   = ["copy"]
}
