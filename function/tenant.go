package function

import "regexp"

// PerTenant is the one tenant isolation mode: TenancyConfig.TenantIsolationMode.
const PerTenant = "PER_TENANT"

// TenantPattern is what tenant IDs look like, as the service prints it; MaxTenantID is how many characters they have at
// most. Source: the model's TenantId.
const (
	TenantPattern = `[a-zA-Z0-9\._:\/=+\-@ ]+`
	MaxTenantID   = 256
)

// TenantID matches the IDs of tenants.
var TenantID = regexp.MustCompile(`^(?:` + TenantPattern + `)$`)
