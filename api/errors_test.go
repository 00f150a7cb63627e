package api_test

import (
	"errors"
	"testing"

	"github.com/aws/smithy-go"
)

func wantError(t testing.TB, err error, code, message string) {
	t.Helper()
	var ae smithy.APIError
	if !errors.As(err, &ae) {
		t.Errorf("error is %v, want %s", err, code)
		return
	}
	if ae.ErrorCode() != code || ae.ErrorMessage() != message {
		t.Errorf("error is\n %s: %s\nwant\n %s: %s", ae.ErrorCode(), ae.ErrorMessage(), code, message)
	}
}
