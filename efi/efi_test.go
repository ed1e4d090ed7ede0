package efi

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"
)

// variable is a text as efivarfs gives it, ended by a zero.
func variable(text string) []byte {
	b := []byte{6, 0, 0, 0}
	for _, c := range utf16.Encode([]rune(text + "\x00")) {
		b = binary.LittleEndian.AppendUint16(b, c)
	}
	return b
}

func TestDeviceURL(t *testing.T) {
	url := variable("http://10.77.0.1/sidus.efi")
	for _, tt := range []struct {
		name         string
		stub, loader []byte
		want, err    string
	}{
		{name: "systemd 258", loader: url, want: "http://10.77.0.1/sidus.efi"},
		{name: "systemd 262", loader: url, stub: url, want: "http://10.77.0.1/sidus.efi"},
		{name: "the stub's own comes first", loader: url, stub: variable("http://10.77.0.2/"), want: "http://10.77.0.2/"},
		{name: "none", err: fs.ErrNotExist.Error()},
		{name: "not ended", loader: url[:len(url)-2], want: "http://10.77.0.1/sidus.efi"},
		{name: "text behind the end", loader: append(variable("http://a/"), url[4:]...), want: "http://a/"},
		{name: "empty", loader: []byte{}, err: "0 bytes are no text"},
		{name: "attributes only", loader: []byte{6, 0, 0, 0}, want: ""},
		{name: "half a character", loader: url[:len(url)-1], err: "bytes are no text"},
		{name: "too long", loader: variable("http://" + strings.Repeat("a", 4096)), err: "bytes are no text"},
		{name: "a control character", loader: variable("http://a/\x1b[2J"), err: "LoaderDeviceURL: it is not a URL"},
		{name: "a blank", loader: variable("http://a b/"), err: "not a URL"},
		{name: "beyond ASCII", loader: variable("http://\u0430/"), err: "not a URL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range map[string][]byte{"StubDeviceURL": tt.stub, "LoaderDeviceURL": tt.loader} {
				if content == nil {
					continue
				}
				if err := os.WriteFile(filepath.Join(dir, name+"-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"), content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := DeviceURL(dir)
			if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q, %v; want %q, %q", got, err, tt.want, tt.err)
			}
			if tt.name == "none" && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%v is not fs.ErrNotExist", err)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(variable("http://10.77.0.1/"))
	f.Add([]byte{6, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		text, err := decode(b)
		if strings.Trim(text, printable) != "" || err != nil && text != "" {
			t.Errorf("%q, %v", text, err)
		}
	})
}

const printable = "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"
