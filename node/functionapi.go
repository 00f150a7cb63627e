package node

import (
	"fmt"
	"log/slog"
	"net"
	"strconv"

	"thaw/api"
	"thaw/internal/door"
	"thaw/sandbox/host/network"
)

// functionAPI tells functions where they reach this server's API; nil: they do not.
func (n *Node) functionAPI() map[string]string {
	if n.cfg.FunctionAPI == 0 {
		return nil
	}
	host := "127.0.0.1"
	if n.backend.Capabilities().Isolates { // it has a loopback of its own
		host = network.HostName
	}
	at := "http://" + net.JoinHostPort(host, strconv.Itoa(n.cfg.FunctionAPI))
	all := map[string]string{}
	for _, service := range []string{"LAMBDA", "STS", "SNS", "EVENTBRIDGE", "SCHEDULER", "APIGATEWAYMANAGEMENTAPI"} {
		all["AWS_ENDPOINT_URL_"+service] = at
	}
	return all
}

// listenToFunctions serves the API on a port of the loopback that functions reach. There every request must be signed,
// whatever the other listener takes: a function is not this server's user. It ends after the pool, because functions may
// call to their end.
func (n *Node) listenToFunctions() error {
	if n.cfg.FunctionAPI == 0 {
		return nil
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(n.cfg.FunctionAPI)))
	if err != nil {
		return fmt.Errorf("function-api: %w", err)
	}
	s := door.Serve(l, n.api.Signed(), door.Options{MaxConnections: maxConnections(), Busy: api.TooManyConnections,
		ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelDebug)})
	n.undo.Add(s.Close)
	return nil
}
