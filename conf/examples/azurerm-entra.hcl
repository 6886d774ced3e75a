# stateferry: states in Azure Blob Storage, signed in by Entra ID, in two tenants.

agent {
  store = "/var/lib/stateferry"
}

# The identity of the machine, which needs Storage Blob Data Reader on the container: nothing secret is kept anywhere.
backend "azurerm" "live" {
  storage_account_name = "acmestates"
  container_name       = "tfstate"
  use_azuread_auth     = true
  use_msi              = true

  # client_id = "..." # which one, of a machine that has several
}

# An application of another tenant, which needs Storage Blob Data Contributor. Its certificate may be a PFX archive, or PEM with its key.
# Each argument may be left out where its ARM_ variable is set, as terraform reads them.
backend "azurerm" "dr" {
  storage_account_name        = "acmestatesdr"
  container_name              = "tfstate"
  use_azuread_auth            = true
  tenant_id                   = "00000000-0000-0000-0000-000000000000"
  client_id                   = "11111111-1111-1111-1111-111111111111"
  client_certificate_path     = "/etc/stateferry/dr.pfx"
  client_certificate_password = file("/run/credentials/stateferry/password")

  # client_secret        = env("ARM_CLIENT_SECRET")         # instead of a certificate
  # use_oidc             = true                             # or the token of another issuer: a pod, a job of a CI
  # oidc_token_file_path = "/var/run/secrets/azure/tokens/azure-identity-token"
  # environment          = "usgovernment"                   # another cloud
}

# Without use_azuread_auth the account's key is looked up by whoever signs in.
backend "azurerm" "archive" {
  storage_account_name = "acmearchive"
  container_name       = "tfstate"
  resource_group_name  = "states"
  subscription_id      = "22222222-2222-2222-2222-222222222222" # or ARM_SUBSCRIPTION_ID
  use_msi              = true
}

replicate "live-to-dr" {
  from = "live"
  to   = ["dr", "archive"]
}
