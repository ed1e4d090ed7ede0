// Package efi reads what systemd's boot programs say in EFI variables
// (systemd.io/BOOT_LOADER_INTERFACE).
package efi

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// vendor is what systemd's variables belong to.
const vendor = "-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"

// maxURL is how many bytes a variable with a URL has at most: two for each character.
const maxURL = 4096

// DeviceURL returns the URL from which the EFI stub, or systemd-boot, was fetched by the
// firmware; dir is where efivarfs is mounted. Stubs of systemd 258 and later leave it.
// An error that is fs.ErrNotExist says that there is none.
func DeviceURL(dir string) (string, error) {
	for _, name := range []string{"StubDeviceURL", "LoaderDeviceURL"} {
		b, err := os.ReadFile(filepath.Join(dir, name+vendor))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		url, err := decode(b)
		if err != nil {
			return "", fmt.Errorf("EFI variable %s: %w", name, err)
		}
		return url, nil
	}
	return "", fs.ErrNotExist
}

// decode reads a variable as efivarfs gives it, attributes in front, with a text in
// UTF-16 that a zero may end. A URL has printable ASCII only.
func decode(b []byte) (string, error) {
	const attributes = 4
	if len(b) < attributes || len(b) > maxURL || len(b)%2 != 0 {
		return "", fmt.Errorf("%d bytes are no text", len(b))
	}
	var text strings.Builder
	for b = b[attributes:]; len(b) > 0; b = b[2:] {
		switch {
		case b[0] == 0 && b[1] == 0:
			return text.String(), nil
		case b[1] != 0 || b[0] <= ' ' || b[0] > '~':
			return "", errors.New("it is not a URL")
		}
		text.WriteByte(b[0])
	}
	return text.String(), nil
}
