# stateferry: states in Azure Blob Storage, copied to a folder. In terraform's order the key of the account signs (ARM_ACCESS_KEY), or a SAS
# (ARM_SAS_TOKEN), or Entra ID with use_azuread_auth = true and the ARM_ variables of terraform.

agent {
  store = "/var/lib/stateferry"
}

# The body of a backend "azurerm" block of terraform works here; without key, every state below prefix is seen.
backend "azurerm" "live" {
  storage_account_name = "acmestates"
  container_name       = "tfstate"
  access_key           = env("ARM_ACCESS_KEY")
}

backend "local" "copy" {
  dir = "/srv/tfstate-copy"
}

replicate "live-to-copy" {
  from = "live"
  to   = ["copy"]
}
