package api

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"thaw/controlplane"
	"thaw/eventsource"
	"thaw/eventsource/poller"
	"thaw/function"
)

// Sources runs event source mappings; *poller.Service does.
type Sources interface {
	Kind(arn string, brokers []string) (eventsource.Kind, error)
	Get(id eventsource.ID) (*eventsource.Mapping, error)
	List() []*eventsource.Mapping
	Create(ctx context.Context, m *eventsource.Mapping) (*eventsource.Mapping, error)
	Update(ctx context.Context, id eventsource.ID, enabled *bool, change func(*eventsource.Mapping) error) (*eventsource.Mapping, error)
	Delete(ctx context.Context, id eventsource.ID) (*eventsource.Mapping, error)
	Tag(ctx context.Context, id eventsource.ID, change func(tags map[string]string)) error
}

// maxMappings is the most that a page of mappings holds.
const maxMappings = 100

var errNoMapping = fail("ResourceNotFoundException", "The resource you requested does not exist.")

// mappingError is the answer to what a mapping is refused with.
func mappingError(err error) error {
	var (
		invalid  *eventsource.InvalidError
		enum     *eventsource.EnumError
		conflict *poller.ConflictError
	)
	switch {
	case errors.As(err, &invalid):
		return invalidParameter("%s", invalid.Message)
	case errors.As(err, &enum):
		return fail("ValidationException", "1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: Member must satisfy enum value set: %s", enum.Value, enum.Member, enum.Set)
	case errors.As(err, &conflict):
		return fail("ResourceConflictException", "%s", conflict.Message)
	case errors.As(err, new(*eventsource.BadMoveError)):
		return fail("ResourceInUseException", "Cannot update the event source mapping because it is in use.")
	case errors.Is(err, poller.ErrNotFound):
		return errNoMapping
	case errors.Is(err, poller.ErrClosed):
		return fail("ServiceException", "The server is stopping.")
	}
	return err
}

// readMapping decodes and checks the body of a request.
func (c *call) readMapping(create bool) (in eventSourceInput, ref function.Reference, err error) {
	if err := c.decode(&in); err != nil {
		return in, ref, err
	}
	var v violations
	if in.FunctionName != nil {
		ref, _ = c.checkTarget(&v, readNames, *in.FunctionName)
	} else if create {
		v.notNull("functionName", true)
	}
	in.check(&v)
	return in, ref, v.err()
}

// mappingTarget is the function that a mapping names. It has to be there.
func (c *call) mappingTarget(ref function.Reference) (target, error) {
	t, err := c.resolve(ref, "")
	if err != nil {
		return t, err
	}
	e := c.s.view.Get(t.key)
	if e == nil || t.qualifier != "" && e.Named(t.qualifier) == nil {
		return t, invalidParameter("Function does not exist")
	}
	if e.Record.Latest.Config.TenantIsolation != "" { // a source has no tenant to name
		return t, controlplane.NotForTenants("Event source mapping")
	}
	return t, nil
}

// CreateEventSourceMapping: POST /2015-03-31/event-source-mappings -> 202.
//
// Supported: all kinds of sources that this server has. Differs: KMSKeyArn is refused, LoggingConfig ignored.
func (c *call) createEventSourceMapping() error {
	in, ref, err := c.readMapping(true)
	if err != nil {
		return err
	}
	if c.s.Sources == nil {
		return notImplemented("CreateEventSourceMapping")
	}
	r := in.request()
	if r.OnSuccess {
		return invalidParameter("Unsupported DestinationConfig parameter for given event source mapping type.")
	}
	kind, err := c.s.Sources.Kind(text(r.ARN), r.Brokers)
	if err != nil {
		return mappingError(err)
	}
	m, err := eventsource.New(kind, r)
	if err != nil {
		return mappingError(err)
	}
	t, err := c.mappingTarget(ref)
	if err != nil {
		return err
	}
	m.ID, m.Function, m.Qualifier, m.Partition, m.Tags = eventsource.ID(uuid.NewString()), t.key, t.qualifier, t.partition, in.Tags
	if err := m.CheckTags(); err != nil {
		return mappingError(err)
	}
	if m, err = c.s.Sources.Create(c.r.Context(), m); err != nil {
		return mappingError(err)
	}
	return c.json(http.StatusAccepted, shownMapping(m))
}

// mappingOf is the mapping with an ID.
func (c *call) mappingOf(id eventsource.ID) (*eventsource.Mapping, error) {
	if c.s.Sources == nil {
		return nil, poller.ErrNotFound
	}
	return c.s.Sources.Get(id)
}

// mapping is the one that the path names.
func (c *call) mapping() (*eventsource.Mapping, error) {
	m, err := c.mappingOf(eventsource.ID(strings.ToLower(c.label)))
	if err != nil {
		return nil, mappingError(err)
	}
	if m.Function.Region != c.region {
		return nil, errNoMapping
	}
	return m, nil
}

// GetEventSourceMapping: GET /2015-03-31/event-source-mappings/{UUID} -> 200. Supported.
func (c *call) getEventSourceMapping() error {
	m, err := c.mapping()
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, shownMapping(m))
}

// UpdateEventSourceMapping: PUT /2015-03-31/event-source-mappings/{UUID} -> 202.
//
// Differs: a mapping that is Creating or Updating can be changed, so that a wrong address or secret can be corrected.
func (c *call) updateEventSourceMapping() error {
	in, ref, err := c.readMapping(false)
	if err != nil {
		return err
	}
	if _, err := c.mapping(); err != nil {
		return err
	}
	var t *target
	if in.FunctionName != nil {
		named, err := c.mappingTarget(ref)
		if err != nil {
			return err
		}
		t = &named
	}
	r := in.request()
	m, err := c.s.Sources.Update(c.r.Context(), eventsource.ID(strings.ToLower(c.label)), in.Enabled, func(m *eventsource.Mapping) error {
		if t != nil {
			m.Function, m.Qualifier, m.Partition = t.key, t.qualifier, t.partition
		}
		return m.Change(r)
	})
	if err != nil {
		return mappingError(err)
	}
	return c.json(http.StatusAccepted, shownMapping(m))
}

// DeleteEventSourceMapping: DELETE /2015-03-31/event-source-mappings/{UUID} -> 202. Supported.
func (c *call) deleteEventSourceMapping() error {
	m, err := c.mapping()
	if err != nil {
		return err
	}
	if m, err = c.s.Sources.Delete(c.r.Context(), m.ID); err != nil {
		return mappingError(err)
	}
	return c.json(http.StatusAccepted, shownMapping(m))
}

// ListEventSourceMappings: GET /2015-03-31/event-source-mappings?EventSourceArn=&FunctionName=&Marker=&MaxItems= -> 200.
// Supported: by UUID.
func (c *call) listEventSourceMappings() error {
	var v violations
	arn, _ := c.query("EventSourceArn")
	name, named := c.query("FunctionName")
	var ref function.Reference
	if named {
		ref, _ = c.checkTarget(&v, readNames, name)
	}
	p, err := c.readPageOf(&v, "mappings/"+c.region+"/"+arn+"/"+name, maxMappings)
	if err != nil {
		return err
	}
	var all []*eventsource.Mapping
	if c.s.Sources != nil {
		all = c.s.Sources.List()
	}
	items := func(yield func(*eventsource.Mapping) bool) {
		for _, m := range all {
			switch {
			case m.Function.Region != c.region, string(m.ID) <= p.after, arn != "" && m.Source.ARN != arn:
			case named && (m.Function.Name != ref.Name || ref.Qualifier != "" && m.Qualifier != ref.Qualifier):
			default:
				if !yield(m) {
					return
				}
			}
		}
	}
	var out struct {
		EventSourceMappings []eventSourceMapping
		NextMarker          string `json:",omitempty"`
	}
	out.EventSourceMappings, out.NextMarker = cut(p, items, func(m *eventsource.Mapping) string { return string(m.ID) }, shownMapping)
	return c.json(http.StatusOK, out)
}
