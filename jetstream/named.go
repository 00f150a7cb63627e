package jetstream

import (
	"encoding/json"
	"maps"
	"slices"

	"thaw/function"
	"thaw/jetstream/journal"
)

// Named are the hashes of the packages that records name.
func Named(records []journal.Write) []string {
	named := map[string]bool{}
	add := func(hash string) { named[hash] = true }
	for _, w := range records {
		if w.Bucket == layersBucket.Bucket {
			layerBlobs(w.Value, add)
		}
		if w.Bucket != functionsBucket.Bucket {
			continue
		}
		switch _, _, number, ok := parseKey(w.Key); {
		case !ok:
		case number == 0:
			var r function.Record
			if json.Unmarshal(w.Value, &r) == nil {
				r.Latest.Config.Blobs(add)
				if r.Before != nil {
					r.Before.Config.Blobs(add)
				}
			}
		default:
			var v function.VersionRecord
			if json.Unmarshal(w.Value, &v) == nil {
				v.Config.Blobs(add)
			}
		}
	}
	return slices.Sorted(maps.Keys(named))
}

// Functions counts the functions among records.
func Functions(records []journal.Write) (n int) {
	for _, w := range records {
		if _, _, number, ok := parseKey(w.Key); ok && number == 0 && w.Bucket == functionsBucket.Bucket {
			n++
		}
	}
	return n
}
