package api

import (
	"net/http"
	"strconv"

	"thaw/layer"
)

// ListLayerVersions: GET /2018-10-31/layers/{LayerName}/versions?CompatibleRuntime=&CompatibleArchitecture=&Marker=&MaxItems=
// -> 200, newest first; an empty list for a layer that is not there. Supported.
func (c *call) listLayerVersions() error {
	var v violations
	c.checkLayerName(&v)
	f := c.readLayerFilter(&v)
	p, err := c.readPage(&v, "layers/"+c.region+"/"+c.label+"/"+f.runtime+"/"+f.architecture)
	if err != nil {
		return err
	}
	t, err := c.layerTarget(c.label)
	if err != nil {
		return err
	}
	out := struct {
		LayerVersions []layerVersionItem
		NextMarker    string `json:",omitempty"`
	}{LayerVersions: []layerVersionItem{}}
	if r := c.s.Plane.Layers.Get(t.Key); r != nil {
		before, _ := strconv.Atoi(p.after)
		items := func(yield func(*layer.Version) bool) {
			for v := range f.newest(r) {
				if (before == 0 || v.Number < before) && !yield(v) {
					return
				}
			}
		}
		out.LayerVersions, out.NextMarker = cut(p, items, func(v *layer.Version) string { return strconv.Itoa(v.Number) },
			func(v *layer.Version) layerVersionItem { return itemOf(r, v) })
	}
	return c.json(http.StatusOK, out)
}

// layerItem is a layer in a list, with its newest version that was asked for.
type layerItem struct {
	LayerName, LayerArn   string
	LatestMatchingVersion layerVersionItem
}

// ListLayers: GET /2018-10-31/layers?CompatibleRuntime=&CompatibleArchitecture=&Marker=&MaxItems= -> 200: the layers of the
// region that have a version, in the order of names. Supported.
func (c *call) listLayers() error {
	var v violations
	f := c.readLayerFilter(&v)
	p, err := c.readPage(&v, "layers/"+c.region+"//"+f.runtime+"/"+f.architecture)
	if err != nil {
		return err
	}
	items := func(yield func(layerItem) bool) {
		for _, r := range c.s.Plane.Layers.All() {
			if r.Account != c.s.AccountID || r.Region != c.region || r.Name <= p.after {
				continue
			}
			for v := range f.newest(r) {
				if !yield(layerItem{r.Name, r.ARN(), itemOf(r, v)}) {
					return
				}
				break
			}
		}
	}
	var out struct {
		Layers     []layerItem
		NextMarker string `json:",omitempty"`
	}
	out.Layers, out.NextMarker = cut(p, items, func(l layerItem) string { return l.LayerName }, func(l layerItem) layerItem { return l })
	return c.json(http.StatusOK, out)
}
