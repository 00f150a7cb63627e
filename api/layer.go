package api

import (
	"slices"
	"strconv"
	"strings"

	"thaw/layer"
)

// Patterns of layers, as the service prints them.
const (
	layerNamePattern = `(arn:[a-zA-Z0-9-]+:lambda:[a-zA-Z0-9-]+:\d{12}:layer:[a-zA-Z0-9-_]+)|[a-zA-Z0-9-_]+`
	layerARNPattern  = `(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)`

	getLayerVersion       = "lambda:GetLayerVersion"
	layerPrincipalPattern = `\d{12}|\*|arn:(aws[a-zA-Z-]*):iam::\d{12}:root`
)

var (
	layerNameRE      = whole(layerNamePattern)
	layerARNRE       = whole(layerARNPattern)
	layerPrincipalRE = whole(layerPrincipalPattern)
)

const noResource = "The resource you requested does not exist."

// layerTarget is the layer that an operation names, and its version where the path has one.
type layerTarget struct {
	layer.Key
	partition string
	number    int
}

// arn is the version's ARN, whether there is such a version or not.
func (t *layerTarget) arn() string {
	r := layer.Record{Key: t.Key, Partition: t.partition}
	return r.VersionARN(t.number)
}

// readLayer is how operations about a layer begin: the body is decoded, and name and members are checked together. in: nil
// when there is no body.
func (c *call) readLayer(in form) (t layerTarget, err error) {
	if in != nil {
		if err := c.decode(in); err != nil {
			return t, err
		}
	}
	var v violations
	c.checkLayerName(&v)
	if in != nil {
		in.check(&v)
	}
	if err := v.err(); err != nil {
		return t, err
	}
	return c.layerTarget(c.label)
}

func (c *call) checkLayerName(v *violations) {
	name := c.label
	v.text("layerName", &name, 1, 140, layerNameRE, layerNamePattern)
}

// layerTarget turns a checked name or ARN into a layer of this server.
func (c *call) layerTarget(name string) (layerTarget, error) {
	ref, _ := layer.Parse(name)
	t := layerTarget{Key: layer.Key{Account: c.s.AccountID, Region: c.region, Name: ref.Name}, partition: partitionOf(c.region), number: ref.Number}
	if ref.Account == "" {
		return t, nil
	}
	t.Account, t.Region, t.partition = ref.Account, ref.Region, ref.Partition
	if ref.Account != c.s.AccountID || ref.Region != c.region {
		return t, c.foreignLayer(name)
	}
	return t, nil
}

// foreignLayer refuses a layer that is not of this account and region: nobody can have allowed its use.
func (c *call) foreignLayer(arn string) error {
	return fail("AccessDeniedException", "User: arn:%s:iam::%s:root is not authorized to perform: %s on resource: %s because no resource-based policy allows the %s action",
		partitionOf(c.region), c.s.AccountID, c.op.action(), arn, c.op.action())
}

// readLayerVersion is readLayer for operations about one version.
func (c *call) readLayerVersion(in form) (t layerTarget, err error) {
	if t, err = c.readLayer(in); err != nil {
		return t, err
	}
	n, bad := strconv.ParseInt(c.labels[1], 10, 64)
	switch {
	case bad != nil && !strings.HasPrefix(c.labels[1], "-"):
		return t, fail("SerializationException", "%q can not be converted to a Long", c.labels[1])
	case bad != nil || n < 1:
		return t, invalidParameter("Layer Version Cannot be less than 1")
	}
	t.number = int(min(n, 1<<40)) // no layer has so many
	return t, nil
}

// layerVersion is the version that an operation names. missing is said of one that is not there.
func (c *call) layerVersion(t layerTarget, missing string) (*layer.Record, *layer.Version, error) {
	if r := c.s.Plane.Layers.Get(t.Key); r != nil {
		if v := r.Find(t.number); v != nil {
			return r, v, nil
		}
	}
	return nil, nil, fail("ResourceNotFoundException", "%s", missing)
}

type (
	layerContent struct {
		Location   string
		CodeSha256 string
		CodeSize   int64
	}
	// layerVersionItem is a version in a list.
	layerVersionItem struct {
		LayerVersionArn         string
		Version                 int
		Description             string
		CreatedDate             string
		CompatibleRuntimes      []string `json:",omitempty"`
		CompatibleArchitectures []string `json:",omitempty"`
		LicenseInfo             string   `json:",omitempty"`
	}
	layerVersion struct {
		Content  layerContent
		LayerArn string
		layerVersionItem
	}
)

func itemOf(r *layer.Record, v *layer.Version) layerVersionItem {
	return layerVersionItem{LayerVersionArn: r.VersionARN(v.Number), Version: v.Number, Description: v.Description, CreatedDate: timestamp(v.Created),
		CompatibleRuntimes: v.Runtimes, CompatibleArchitectures: v.Architectures, LicenseInfo: v.License}
}

// showLayer is a version as the operations about one show it, with a place to download it from.
func (c *call) showLayer(r *layer.Record, v *layer.Version) layerVersion {
	return layerVersion{LayerArn: r.ARN(), layerVersionItem: itemOf(r, v),
		Content: layerContent{Location: c.codeLocation(v.SHA256), CodeSha256: base64Hash(v.SHA256), CodeSize: v.Size}}
}

// layerARNs checks a list of ARNs of versions: the first that is none is reported with the whole list.
func (v *violations) layerARNs(member string, list []string) {
	for _, arn := range list {
		if len(arn) < 1 || len(arn) > 2048 || !layerARNRE.MatchString(arn) {
			v.add(quoted("["+strings.Join(list, ", ")+"]"), member, "Member must satisfy constraint: [Member must have length less than or equal to 2048, "+
				"Member must have length greater than or equal to 1, "+patternRule(layerARNPattern)+", Member must not be null]")
			return
		}
	}
}

// enumList checks a list whose elements are of a closed set.
func (v *violations) enumList(member string, list []string, most int, set ...string) {
	v.listSize(member, list, most)
	for _, s := range list {
		if !slices.Contains(set, s) {
			v.add(quoted("["+strings.Join(list, ", ")+"]"), member, "Member must satisfy constraint: [Member must satisfy enum value set: ["+strings.Join(set, ", ")+"], Member must not be null]")
			return
		}
	}
}
