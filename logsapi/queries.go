package logsapi

// queries are those of Logs Insights that run or are done.
type queries struct{}

func (*queries) open()  {}
func (*queries) close() {}
