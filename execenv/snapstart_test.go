package execenv

import "testing"

func TestMessageOfAnInitError(t *testing.T) {
	for _, test := range []struct{ errType, body, want string }{
		{"Runtime.BeforeCheckpointError", `{"errorType":"TypeError","errorMessage":"no database"}`, "TypeError: no database"},
		{"Runtime.BadFunctionCode", `{"errorType":"java.lang.StackOverflowError","errorMessage":"deep"}`, "java.lang.StackOverflowError: deep"},
		{"Runtime.BeforeCheckpointError", `{"errorType":"com.amazonaws.services.lambda.crac.CheckpointException","errorMessage":"java.lang.Error: x"}`, "java.lang.Error: x"},
		{"Runtime.ImportModuleError", `{"errorType":"Runtime.ImportModuleError","errorMessage":"no module"}`, "no module"},
		{"Runtime.Unknown", `{"errorType":"Error","errorMessage":"Error: twice"}`, "Error: twice"},
		{"Runtime.Unknown", `{"errorType":"OnlyAType"}`, "OnlyAType"},
		{"Runtime.Unknown", `not JSON`, "not JSON"},
		{"Runtime.Unknown", ``, ""},
	} {
		e := initError{errType: test.errType, body: []byte(test.body)}
		if got := e.message(); got != test.want {
			t.Errorf("%s %s: %q, want %q", test.errType, test.body, got, test.want)
		}
	}
}
