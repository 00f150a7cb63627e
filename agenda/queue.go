package agenda

// queue is the rows that have a next time, the next one first: a heap.
type queue []*row

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].tick.Due.Before(q[j].tick.Due) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].at, q[j].at = i, j
}

func (q *queue) Push(x any) {
	r := x.(*row)
	r.at = len(*q)
	*q = append(*q, r)
}

func (q *queue) Pop() any {
	old := *q
	r := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	r.at = -1
	return r
}
