package schemaregistry

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

type (
	file    = protoreflect.FileDescriptor
	message = protoreflect.MessageDescriptor
)

type protobufDecoder struct {
	file     file
	registry Registry // knows what the registry's clients write in front of a message
}

// root is the name of the schema itself, which its registry has none for.
const root = "the schema.proto"

func newProtobuf(s Schema, r Registry) (decoder, error) {
	files := map[string]string{root: s.Text}
	for _, imported := range s.References {
		files[imported.Name] = imported.Text
	}
	c := protocompile.Compiler{Resolver: protocompile.WithStandardImports(protocompile.ResolverFunc(func(name string) (protocompile.SearchResult, error) {
		text, known := files[name]
		if !known {
			return protocompile.SearchResult{}, fmt.Errorf("the registry gave no file %s", name)
		}
		return searchResult(name, text), nil
	}))}
	compiled, err := c.Compile(context.Background(), root)
	if err != nil {
		return nil, err
	}
	return protobufDecoder{compiled[0], r}, nil
}

// searchResult is a file's text, or what some clients register and some registries give back in its place: the
// descriptor of the compiled file in base64.
func searchResult(name, text string) protocompile.SearchResult {
	var d descriptorpb.FileDescriptorProto
	if b, err := base64.StdEncoding.DecodeString(text); err == nil && proto.Unmarshal(b, &d) == nil {
		d.Name = proto.String(name)
		nameFields(d.MessageType)
		return protocompile.SearchResult{Proto: &d}
	}
	return protocompile.SearchResult{Source: strings.NewReader(text)}
}

// nameFields gives fields the names in JSON that a compiler gives them, and that descriptors of clients lack.
func nameFields(messages []*descriptorpb.DescriptorProto) {
	for _, m := range messages {
		for _, f := range m.Field {
			if f.JsonName == nil {
				f.JsonName = proto.String(camelCase(f.GetName()))
			}
		}
		nameFields(m.NestedType)
	}
}

// camelCase drops underscores, and makes what follows one a capital.
func camelCase(name string) string {
	var b strings.Builder
	capital := false
	for _, c := range []byte(name) {
		switch {
		case c == '_':
			capital = true
			continue
		case capital && 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		}
		capital = false
		b.WriteByte(c)
	}
	return b.String()
}

func (d protobufDecoder) decode(data []byte) (source, asJSON []byte, err error) {
	of, data, err := d.registry.message(d.file, data)
	if err != nil {
		return nil, nil, err
	}
	m := dynamicpb.NewMessage(of)
	if err := proto.Unmarshal(data, m); err != nil {
		return nil, nil, err
	}
	text, err := protojson.Marshal(m)
	if err != nil {
		return nil, nil, err
	}
	// protojson puts in a blank at random, so that nobody relies on its bytes.
	var compact bytes.Buffer
	err = json.Compact(&compact, text)
	return data, compact.Bytes(), err
}

// nested finds a message by its place in the file, and in the messages around it.
func nested(f file, path []int) (message, error) {
	in := f.Messages()
	var m message
	for _, i := range path {
		if i < 0 || i >= in.Len() {
			return nil, fmt.Errorf("the schema has no message %v", path)
		}
		m = in.Get(i)
		in = m.Messages()
	}
	if m == nil {
		return nil, fmt.Errorf("the schema has no message %v", path)
	}
	return m, nil
}

// messages are all messages, those inside of others too.
func messages(in protoreflect.MessageDescriptors) []message {
	var all []message
	for i := range in.Len() {
		all = append(all, in.Get(i))
		all = append(all, messages(in.Get(i).Messages())...)
	}
	return all
}
