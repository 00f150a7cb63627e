package function

import (
	"regexp"
	"strings"
	"testing"
)

func TestParseNames(t *testing.T) {
	const arn = "arn:aws:lambda:eu-west-1:123456789012:function:orders"
	full := Reference{Partition: "aws", Region: "eu-west-1", Account: "123456789012", Name: "orders"}
	with := func(r Reference, qualifier Qualifier) Reference { r.Qualifier = qualifier; return r }
	cases := []struct {
		name        string
		in          string
		read, write Reference // the zero value: refused
	}{
		{"a bare name", "orders", Reference{Name: "orders"}, Reference{Name: "orders"}},
		{"a name with a version", "orders:7", Reference{Name: "orders", Qualifier: "7"}, Reference{Name: "orders", Qualifier: "7"}},
		{"a name with an alias", "orders:live", Reference{Name: "orders", Qualifier: "live"}, Reference{Name: "orders", Qualifier: "live"}},
		{"a name with $LATEST", "orders:$LATEST", Reference{Name: "orders", Qualifier: "$LATEST"}, Reference{Name: "orders", Qualifier: "$LATEST"}},
		{"a name with $LATEST.PUBLISHED is for reading", "orders:$LATEST.PUBLISHED", Reference{Name: "orders", Qualifier: "$LATEST.PUBLISHED"}, Reference{}},
		{"a name with dots is for reading", "or.ders", Reference{Name: "or.ders"}, Reference{}},
		{"function: alone, C-021", "function:orders", Reference{Name: "orders"}, Reference{Name: "orders"}},
		{"a partial ARN, C-021", "123456789012:function:orders", Reference{Account: "123456789012", Name: "orders"}, Reference{Account: "123456789012", Name: "orders"}},
		{"a partial ARN with a qualifier", "123456789012:function:orders:3", Reference{Account: "123456789012", Name: "orders", Qualifier: "3"}, Reference{Account: "123456789012", Name: "orders", Qualifier: "3"}},
		{"a full ARN", arn, full, full},
		{"a full ARN with a qualifier", arn + ":live", with(full, "live"), with(full, "live")},
		{"a full ARN with $LATEST", arn + ":$LATEST", with(full, "$LATEST"), with(full, "$LATEST")},
		{"an ARN without a name is a function called function, C-019", "arn:aws:lambda:eu-west-1:123456789012:function",
			Reference{Partition: "aws", Region: "eu-west-1", Account: "123456789012", Name: "function"}, Reference{Partition: "aws", Region: "eu-west-1", Account: "123456789012", Name: "function"}},
		{"an ARN of another partition", "arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:orders",
			Reference{Partition: "aws-us-gov", Region: "us-gov-west-1", Account: "123456789012", Name: "orders"}, Reference{Partition: "aws-us-gov", Region: "us-gov-west-1", Account: "123456789012", Name: "orders"}},
		{"an ARN of the European partition", "arn:aws-eusc:lambda:eusc-de-east-1:123456789012:function:orders",
			Reference{Partition: "aws-eusc", Region: "eusc-de-east-1", Account: "123456789012", Name: "orders"}, Reference{Partition: "aws-eusc", Region: "eusc-de-east-1", Account: "123456789012", Name: "orders"}},
		{"two qualifiers, C-018", arn + ":1:2", Reference{}, Reference{}},
		{"an ARN of another service", "arn:aws:sqs:eu-west-1:123456789012:function:orders", Reference{}, Reference{}},
		{"an ARN without an account has no reading", "arn:aws:lambda:eu-west-1::function:orders", Reference{}, Reference{}},
		{"a broken qualifier", "orders:$LATES", Reference{}, Reference{}},
		{"a lower-case $latest", "orders:$latest", Reference{}, Reference{}},
		{"an empty qualifier", "orders:", Reference{}, Reference{}},
		{"nothing", "", Reference{}, Reference{}},
		{"a space", "or ders", Reference{}, Reference{}},
		{"a slash", "or/ders", Reference{}, Reference{}},
		{"a line feed behind", "orders\n", Reference{}, Reference{}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, p := range []struct {
				name  string
				parse func(string) (Reference, error)
				want  Reference
			}{{"read", ParseRead, c.read}, {"write", ParseWrite, c.write}} {
				got, err := p.parse(c.in)
				if got != p.want || (err != nil) != (p.want == Reference{}) {
					t.Errorf("%s of %q is %+v, %v; want %+v", p.name, c.in, got, err, p.want)
				}
			}
		})
	}
}

func FuzzParseNames(f *testing.F) {
	for _, s := range []string{"orders", "orders:7", "a.b:$LATEST.PUBLISHED", "123456789012:function:o:1", "arn:aws:lambda:eu-west-1:123456789012:function:orders:live", "function:function:function", "us-east-1:1:$LATEST"} {
		f.Add(s)
	}
	read, write := regexp.MustCompile(`^(?:`+ReadNamePattern+`)$`), regexp.MustCompile(`^(?:`+WriteNamePattern+`)$`)
	f.Fuzz(func(t *testing.T, s string) {
		for _, p := range []struct {
			parse func(string) (Reference, error)
			re    *regexp.Regexp
		}{{ParseRead, read}, {ParseWrite, write}} {
			r, err := p.parse(s)
			if (err == nil) != p.re.MatchString(s) {
				t.Fatalf("%q: error %v, pattern matches: %v", s, err, err != nil)
			}
			if err != nil {
				continue
			}
			// Taken apart and put together, it is the same again.
			var parts []string
			if r.Partition != "" || strings.HasPrefix(s, "arn::lambda:") {
				parts = append(parts, "arn", r.Partition, "lambda")
			}
			for _, part := range []string{r.Region, r.Account} {
				if part != "" {
					parts = append(parts, part)
				}
			}
			tail := r.Name
			if r.Qualifier != "" {
				tail += ":" + string(r.Qualifier)
			}
			plain := strings.Join(append(append([]string{}, parts...), tail), ":")
			named := strings.Join(append(append([]string{}, parts...), "function:"+tail), ":")
			if s != plain && s != named {
				t.Fatalf("%q was read as %+v", s, r)
			}
			if again, err := p.parse(named); err != nil || again != r {
				t.Fatalf("%q: %+v, but %q: %+v, %v", s, r, named, again, err)
			}
		}
	})
}

func TestQualifiers(t *testing.T) {
	cases := []struct {
		in    string
		kind  QualifierKind
		valid bool
	}{
		{"", QualifierLatest, false}, {"$LATEST", QualifierLatest, true}, {"1", QualifierNumber, true}, {"007", QualifierNumber, true}, {"live", QualifierAlias, true},
		{"1a", QualifierAlias, true}, {"-", QualifierAlias, true}, {"$latest", QualifierNothing, true}, {"a$b", QualifierNothing, true},
		{"$LATEST.PUBLISHED", QualifierNothing, true}, {"a.b", QualifierNothing, false}, {"a b", QualifierNothing, false},
	}
	re := regexp.MustCompile(`^(?:` + QualifierPattern + `)$`)
	for _, c := range cases {
		if got := Qualifier(c.in).Kind(); got != c.kind {
			t.Errorf("%q is of kind %d, want %d", c.in, got, c.kind)
		}
		if got := Qualifier(c.in).Valid(); got != c.valid || got != re.MatchString(c.in) {
			t.Errorf("%q is valid: %v, want %v, the pattern says %v", c.in, got, c.valid, re.MatchString(c.in))
		}
	}
}

func FuzzValidQualifier(f *testing.F) {
	f.Add("$LATEST.PUBLISHED")
	f.Add("live\n")
	re := regexp.MustCompile(`^(?:` + QualifierPattern + `)$`)
	f.Fuzz(func(t *testing.T, s string) {
		if got := Qualifier(s).Valid(); got != re.MatchString(s) {
			t.Fatalf("%q is valid: %v", s, got)
		}
	})
}

func TestNumbers(t *testing.T) {
	for in, want := range map[string]int{"1": 1, "42": 42, "0": 0, "-1": 0, "+1": 0, "01": 0, "": 0, "a": 0, "99999999999999999999": 0} {
		if got := VersionNumber(in).Int(); got != want {
			t.Errorf("number of %q is %d, want %d", in, got, want)
		}
	}
}

func BenchmarkParseRead(b *testing.B) {
	for _, s := range []string{"orders", "arn:aws:lambda:eu-west-1:123456789012:function:orders:live"} {
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseRead(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
