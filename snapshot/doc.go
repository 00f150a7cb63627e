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
// # What is on disk
//
// A file of a snapshot is cut into pages of 4 KiB. A page of zeros is not kept. Any other page is kept once, whoever has it: it is
// known by a keyed hash, and lies in a slot of a pack. A pack is up to 4 MiB of pages, compressed and sealed as one blob under a name
// that is never used twice. A manifest says for each file which slots make it up. An index lists the hashes of the
// packs that one commit made: it only serves sharing, so a lost one costs space and nothing else.
//
//	store              one sealed constant: says whose key this is
//	pack/ID            sealed(zstd(pages))
//	index/ID           sealed(zstd(packs and hashes))
//	manifest/ID        sealed(zstd(JSON)), ID is the snapshot's
//	tomb/ID            sealed(names of packs that a sweep is about to delete)
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
