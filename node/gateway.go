package node

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"thaw/admin"
	"thaw/api"
	"thaw/gateway"
	"thaw/gateway/gatewayapi"
	"thaw/jetstream"
)

// openGateway opens the APIs of API Gateway, and the operations that make them.
func (n *Node) openGateway(ctx context.Context, shared pushParts) (pushSource, error) {
	var s pushSource
	apis, err := shared.records.Documents(ctx, jetstream.Gateways)
	if err != nil {
		return s, err
	}
	plans, err := shared.records.Documents(ctx, jetstream.Plans)
	if err != nil {
		return s, err
	}
	records, err := gateway.OpenRecords(ctx, apis, plans)
	if err != nil {
		return s, err
	}
	names, err := n.cfg.urlNames("")
	if err != nil {
		return s, err
	}
	n.gateway = gateway.New(gateway.Options{Records: records, Functions: shared.functions, Sender: n.api.Sender, Log: n.log, Now: n.cfg.now,
		Domain: names.Domain, Own: n.ownNames(), Host: n.hostOfFront, Local: n.cfg.GatewayLocal, Pools: os.Getenv("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER"), MaxTimeout: n.cfg.GatewayTimeout,
		AccessLog: func(group, stream string) gateway.Lines { return n.logs.Stream(group, stream) }})
	n.undo.Add(n.gateway.Close)
	s.fronts, s.triggers = []api.Front{n.gateway}, n.servedFunctions
	s.services = []api.Service{gatewayapi.New(gatewayapi.Options{Records: records, AccountID: n.cfg.AccountID, Endpoint: n.gatewayEndpoint, Log: n.log,
		Used: n.gateway.Used, Forget: n.gateway.FlushAuthorizers})}
	return s, nil
}

// ownNames are the names of this server that it was told.
func (n *Node) ownNames() (names []string) {
	for _, name := range append(n.cfg.hosts(), strings.Split(n.cfg.ACMEDomain, ",")...) {
		if name = strings.ToLower(strings.TrimSpace(name)); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// gatewayEndpoint is the URL of an API by its host name.
func (n *Node) gatewayEndpoint(a *gateway.API) string {
	names, err := n.cfg.urlNames(n.Addr())
	if err != nil { // the server would not have started
		return ""
	}
	scheme := cmp.Or(names.Scheme, "http")
	if a.Kind == gateway.WebSocket {
		scheme = map[string]string{"http": "ws", "https": "wss"}[scheme]
	}
	host := a.ID + ".execute-api." + a.Region + "." + names.Domain
	if names.Port != "" {
		host += ":" + names.Port
	}
	return scheme + "://" + host
}

// servedFunctions are the functions behind APIs, as thaw trigger shows them.
func (n *Node) servedFunctions() (all []admin.Trigger) {
	for _, f := range n.gateway.Serving() {
		const most = 3
		from := f.Routes
		if len(from) > most {
			from = append(slices.Clone(from[:most]), fmt.Sprintf("%d more", len(f.Routes)-most))
		}
		at := n.gatewayEndpoint(f.API)
		if f.Stage != gateway.DefaultStage {
			at += "/" + f.Stage
		}
		all = append(all, admin.Trigger{Kind: "api", Name: f.API.ID + "/" + f.Stage, Region: f.API.Region, Function: f.Function,
			From: f.API.Name + ": " + strings.Join(from, ", "), At: at,
			Events: f.Events, Last: f.Last, Trouble: f.Trouble, Troubled: f.Troubled, Managed: true, Disabled: f.API.Disabled})
	}
	return all
}
