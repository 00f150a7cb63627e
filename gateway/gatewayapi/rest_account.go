package gatewayapi

import (
	"thaw/gateway"
)

// restAccount is the Account of apigateway.
type restAccount struct {
	Role       string   `json:"cloudwatchRoleArn,omitempty"`
	Throttle   throttle `json:"throttleSettings"`
	Features   []string `json:"features"`
	KeyVersion string   `json:"apiKeyVersion"`
}

const accountKey = "account"

func viewAccount(s *gateway.Account) restAccount {
	v := restAccount{Throttle: throttle{5000, 10000}, Features: []string{"UsagePlans"}, KeyVersion: "4"}
	if s != nil && s.Settings != nil {
		v.Role = s.Settings.LogRole
	}
	return v
}

func (c *call) getAccount() (any, error) { return viewAccount(c.apis().Shared.Get(accountKey)), nil }

// updateAccount keeps the role with which AWS writes logs; this server writes them without one.
func (c *call) updateAccount() (any, error) {
	v := restAccount{}
	err := c.apis().Shared.Change(c.ctx(), accountKey, func(old *gateway.Account) (*gateway.Account, error) {
		v = viewAccount(old)
		if err := c.patch(&v, "cloudwatchRoleArn|features", nil); err != nil {
			return nil, err
		}
		return &gateway.Account{Settings: &gateway.Settings{LogRole: v.Role}}, nil
	})
	return v, err
}
