package node

import "thaw/admin"

// functions lists the functions for the commands of this host.
func (n *Node) functions() []admin.Function {
	list := []admin.Function{}
	for _, e := range n.plane.View().All() {
		r, latest := e.Record, &e.Record.Latest
		f := admin.Function{Name: r.Name, Region: r.Region, ARN: string(r.ARN()), Runtime: latest.Config.Runtime, Handler: latest.Config.Handler,
			MemoryMiB: latest.Config.MemoryMiB, State: latest.Life.State(), Reason: latest.Reason, SnapStart: latest.Config.SnapStart,
			Versions: []int{}, Group: latest.Config.Logging.Group, Modified: latest.Modified}
		list = append(list, f)
		if len(r.Numbers) > 0 {
			list[len(list)-1].Versions = r.Numbers
		}
	}
	return list
}
