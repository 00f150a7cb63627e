package function

import "strconv"

// Qualifier is how a caller names a version of a function: $LATEST, a version's number, or an alias. Empty: none was
// written, which means $LATEST.
type Qualifier string

// VersionNumber names one version: $LATEST, or decimal.
type VersionNumber string

// Latest is the version that can change.
const Latest = "$LATEST"

// NumberOf is the n-th published version.
func NumberOf(n int) VersionNumber { return VersionNumber(strconv.Itoa(n)) }

// Int is the number of a published version; 0 for $LATEST, and for a text that is no number of one.
func (v VersionNumber) Int() int {
	s := string(v)
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || s[0] == '0' || s[0] == '+' {
		return 0
	}
	return n
}

// QualifierKind is what a qualifier can name.
type QualifierKind uint8

// The kinds of qualifier.
const (
	QualifierLatest  QualifierKind = iota // $LATEST, or none
	QualifierNumber                       // a published version
	QualifierAlias                        // a name
	QualifierNothing                      // legal text that can name nothing here ($LATEST.PUBLISHED, $latest)
)

// Kind classifies a qualifier that is Valid, or empty.
func (q Qualifier) Kind() QualifierKind {
	if q == "" || q == Latest {
		return QualifierLatest
	}
	digits := true
	for i := range len(q) {
		c := q[i]
		if !nameByte(c) {
			return QualifierNothing
		}
		digits = digits && '0' <= c && c <= '9'
	}
	if digits {
		return QualifierNumber
	}
	return QualifierAlias
}

// Number is the published version that the qualifier names by its number; 0 when it does not.
func (q Qualifier) Number() int { return VersionNumber(q).Int() }

// Valid says whether the qualifier matches QualifierPattern; its length is another rule.
func (q Qualifier) Valid() bool {
	if q == Latest || q == Latest+".PUBLISHED" {
		return true
	}
	for i := range len(q) {
		if !nameByte(q[i]) && q[i] != '$' {
			return false
		}
	}
	return q != ""
}
