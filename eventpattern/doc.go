// Package eventpattern decides whether a JSON document passes an event pattern: the filter criteria of event source
// mappings, and the patterns of EventBridge's rules. It is pure: no clock, no I/O, nothing of where documents come from.
//
// A pattern has the structure of the documents that it lets pass. Its members all have to hold, one item of each list
// is enough:
//
//	{"body": {"level": ["WARN", "ERROR"], "tries": [{"numeric": [">", 3]}]}}
//
// Compile reads a pattern once, Parse a document once; then any number of patterns can be held against the document:
//
//	p, err := eventpattern.Compile(text)
//	d, err := eventpattern.Parse(record)
//	ok := p.Match(d)
//
// What may be surprising (docs/spec/event-sources.md, section 2):
//
//   - Numbers outside of numeric compare by their text: 300 is not 300.0.
//   - Where the document has an array, one element that matches is enough. Members of one pattern object must hold for
//     the same element.
//   - Only leaves exist: a member whose value is an object, or an empty array, does not.
//   - anything-but does not hold for a member that is absent.
//   - Of members with the same name the last one counts, in patterns as in documents.
package eventpattern
