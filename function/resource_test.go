package function

import "testing"

func TestResourceOfAnInvocation(t *testing.T) {
	t.Parallel()
	v := &Version{Partition: "aws", Region: "r", Account: "1", Name: "f", Number: "3"}
	for arn, want := range map[ARN]Qualifier{
		v.UnqualifiedARN(): Latest, v.ARN(): "3", v.UnqualifiedARN().Qualified("live"): "live", "": Latest, "arn:aws:lambda": Latest,
	} {
		if got := v.Resource(arn); got != (Resource{Key{Account: "1", Region: "r", Name: "f"}, want, "3"}) {
			t.Errorf("%s: %+v", arn, got)
		}
	}
}
