package runtimes

// managedVars are the unreserved variables of runtimes with an interpreter. Names and values, the trailing slash too, as recorded
// from the service.
func managedVars() map[string]string {
	return map[string]string{
		"LANG":                     "en_US.UTF-8",
		"TZ":                       ":UTC",
		"PATH":                     "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
		"LD_LIBRARY_PATH":          "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
		"AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
	}
}

// providedVars are those of OS-only runtimes, which have no interpreter.
func providedVars() map[string]string {
	vars := managedVars()
	vars["PATH"] = "/usr/local/bin:/usr/bin/:/bin:/opt/bin"
	vars["LD_LIBRARY_PATH"] = "/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"
	return vars
}
