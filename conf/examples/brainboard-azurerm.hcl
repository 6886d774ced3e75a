# stateferry: Brainboard with its states in Azure Blob Storage, copied to a folder. The form: resource group, storage account, account key,
# container; or Entra ID instead of the key.

agent {
  store = "/var/lib/stateferry"
}

backend "brainboard" "live" {
  token = env("BRAINBOARD_TOKEN")

  storage "azurerm" {
    resource_group_name  = "acme-states"
    storage_account_name = "acmestates"
    container_name       = "tfstate"
    access_key           = env("ARM_ACCESS_KEY")

    # use_azuread_auth = true # Entra ID: no access_key, and the ARM_ variables of terraform, a machine's identity, or "az login"
  }
}

backend "local" "copy" {
  dir = "/srv/brainboard-copy"
}

replicate "live-to-copy" {
  from = "live"
  to   = ["copy"]
}
