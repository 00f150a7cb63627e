// Package snapshot keeps the saved memory of initialised environments: what identifies a snapshot, its generations and when the next one
// is due, the store of pages, and the local files that a restore reads.
//
// # From a sandbox to the next one
//
//	sandbox --files--> Writer --pages--> Store (Blobs: packs, indexes, manifests; encrypted)
//	                                       |
//	                  Records (which generation is current; compare-and-set)
//	                                       |
//	sandbox <--Handle--- Cache (plain local files) <--packs, decoded in parallel
//
// # How a generation is made
//
//	1 name    Update(records, v, Move(RefreshDue))   the record names the next one: its ID, its generation
//	2 save    an environment runs Init, priming, hooks, and saves its memory
//	3 store   w := store.Begin(ctx, meta)            with that ID; w.Add(name, r) for each file; at last w.Close()
//	4 commit  w.Commit(edit)                         durable
//	5 adopt   cache.Adopt(ctx, id, paths)            the files are on this disk anyway
//	6 made    Update(records, v, Move(Made))
//	7 verify  one restore from cache.Open
//	8 swap    Update(records, v, Move(Verified))     current, in one compare-and-set
//
// Then Tidy: the old one's pages go. Package snapstart performs it (snapstart/ritual.go). Store.Verify reads all that was
// stored once more; it is for tests and for those who doubt their disk.
//
// A restore asks Record.ForRestore, then cache.Open; *CorruptError means Move(Lost). A loop asks Record.Due when to wake and what
// then to apply. At start a record that is Busy was interrupted: Move(MakeFailed).
//
// # What is on disk
//
// A file of a snapshot is cut into pages of 4 KiB. A page of zeros is not kept. Any other page is kept once, whoever has it: it is
// known by a keyed hash, and lies in a slot of a pack. A pack is up to 4 MiB of pages, compressed and sealed as one blob under a name
// that is never used twice. A manifest says for each file which slots make it up. An index lists the hashes of the
// packs that one commit made: it only serves sharing, so a lost one costs space and nothing else.
//
//	store              one sealed constant: says whose key this is
//	pack/ID            sealed(zstd(pages)), or sealed(size, zstd(differences))
//	index/ID           sealed(zstd(packs and hashes))
//	manifest/ID        sealed(zstd(JSON)), ID is the snapshot's
//	tomb/ID            sealed(names of packs that a sweep is about to delete)
//
// A page that is new is mostly made of pieces of old ones. So a pack whose pages have much in common with the latest snapshot of the same function is kept as
// differences from that (delta.go, base.go): each page as copies out of at most four others, found by what their contents have in common, and literals. The manifest
// says which pages these are; they are counted, kept and moved as if a file had them. They lie in whole packs: the chain has one link.
//
// What that gives depends on how alike two initialisations are; the sandbox and the interpreters are made to help (docs/decisions/0005, with what was measured). A further
// version of a trivial Node function or of one in Python takes 4 to 8 % of the first, one of a Node function whose heap V8 moved about much, up to 90 %. A refreshed generation is the same.
//
// # Why a crash does no harm
//
// Packs and index come first, the manifest after all of them is durable, the record of the version last, by compare-and-set.
// Whatever was interrupted is a blob that nothing refers to, which the next sweep removes.
//
// # Who may delete
//
// A Writer pins the packs that it refers to until Close, an extraction until it is done; a sweep leaves pinned packs alone. Between
// servers that share a bucket: a sweep writes a tomb, looks at the manifests again, then deletes; a writer puts its manifest, then
// looks for tombs. One of the two always sees the other.
//
// # Owners and locks
//
// The Store starts no goroutine that outlives a call. Store.mu guards index, manifests and pins and is held for memory work only;
// Store.sweeping is held through a Sweep and taken before mu. A Writer's mu is taken before Store.mu. A Cache owns its loads and its descriptors.
package snapshot
