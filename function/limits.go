package function

import "time"

// Limits of the service. Source: AWS Lambda Developer Guide, quotas, unless a line says otherwise.
const (
	MaxNameLength        = 64
	MaxTimeout           = 900 * time.Second
	MinMemoryMiB         = 128
	MaxMemoryMiB         = 10240
	MinEphemeralMiB      = 512
	MaxEphemeralMiB      = 10240
	MaxVarsBytes         = 4096 // of the compact JSON of the environment variables
	MaxLayers            = 5
	MaxTags              = 50
	MaxZippedBytes       = 52428800  // of a package sent inline; recorded from the service
	MaxUnzippedBytes     = 262144000 // of a package and its layers; recorded from the service
	MaxCreateBytes       = 70167211  // of a whole CreateFunction request; recorded from the service
	MaxSyncPayload       = 6291456   // of a synchronous invocation's event
	MaxSyncResponse      = 6291556   // of its answer, as the service counts; recorded
	MaxClientContext     = 3583      // bytes of the header
	MaxCodeStorage       = 80530636800
	DefaultConcurrency   = 1000 // of an account
	MinUnreserved        = 100  // must stay unreserved
	DefaultTimeout       = 3 * time.Second
	DefaultMemoryMiB     = MinMemoryMiB
	DefaultEphemeralMiB  = MinEphemeralMiB
	DefaultArchitecture  = "x86_64"
	DefaultTracing       = "PassThrough"
	DefaultRecursiveLoop = "Terminate"
	AllowRecursiveLoop   = "Allow"
)
