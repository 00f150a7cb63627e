package api

// Row is one row of the API, for tests that ask for every operation.
type Row struct{ Name, Method, Path, Query string }

// Rows are all operations.
func Rows() (list []Row) {
	for _, op := range operations() {
		list = append(list, Row{op.name, op.method, op.path, op.query})
	}
	return list
}
