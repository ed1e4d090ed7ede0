//go:build qemu

package qemutests

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// hostStub is Debian's stub on this machine: the site's tree has none.
const hostStub = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"

// uki makes a unified kernel image of the site's kernel and image for a probe, in which
// no server is named.
func (s *site) uki(file string, more ...string) {
	s.t.Helper()
	s.initrdgen(append([]string{"uki", "--image", s.image, "--root", s.tree, "--output", file,
		"--append", unnamed("console=ttyS0 " + s.root("vers=3") + " " + probeParams)}, more...)...)
}

// A signer has a key and its certificate, as files and in DER.
type signer struct {
	key, certificate string
	der              []byte
}

// signer makes a key of the site's own.
func (s *site) signer() signer {
	s.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		s.t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sidusboot lab"},
		NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(10, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		s.t.Fatal(err)
	}
	dir := s.t.TempDir()
	k := signer{key: filepath.Join(dir, "key"), certificate: filepath.Join(dir, "certificate"), der: der}
	for name, block := range map[string]*pem.Block{
		k.key:         {Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)},
		k.certificate: {Type: "CERTIFICATE", Bytes: der},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	return k
}

// sign signs a program, and has the signature checked.
func (s *site) sign(k signer, from, to string) {
	s.t.Helper()
	for _, argv := range [][]string{
		{"sbsign", "--key", k.key, "--cert", k.certificate, "--output", to, from},
		{"sbverify", "--cert", k.certificate, to},
	} {
		if out, err := exec.CommandContext(s.ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
			s.t.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
		}
	}
}

// httpBoot are dnsmasq's options for nodes whose UEFI boots by HTTP, from secondAddr, which
// it gives the lab's servers. PXE is not answered.
func (s *site) httpBoot(file string) []string {
	s.t.Helper()
	s.addSecondAddr()
	return []string{
		"--dhcp-vendorclass=set:http,HTTPClient", "--dhcp-vendorclass=set:pxe,PXEClient", "--dhcp-ignore=tag:pxe",
		"--dhcp-option-force=tag:http,60,HTTPClient", "--dhcp-boot=tag:http,http://" + secondAddr + "/" + file,
	}
}

// withoutPXE has OVMF leave out PXE, for which it would wait a minute before it tries
// HTTP.
var withoutPXE = []string{"-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=no"}

// TestSecureBoot boots a node from its power button by UEFI's HTTP boot and a unified
// kernel image, with Secure Boot on and a key of the site's own: the image that is
// not signed is refused, the signed one boots, by the parameters in it.
func TestSecureBoot(t *testing.T) {
	t.Parallel()
	Soak(t) // Two and a half minutes of processor time, most of it firmware's.
	s := newSite(t, "bookworm")
	s.needs(ovmfVariables, hostStub, "/usr/bin/sbsign")
	b := &bootServer{site: s, dir: t.TempDir()}
	s.nfs(Export{}, NFSOptions{})
	server := b.http()
	k := s.signer()
	store, err := enrolled(k.der)
	if err != nil {
		t.Fatal(err)
	}
	keys := s.file("variables.fd", string(store))
	unsigned, offered := filepath.Join(t.TempDir(), "sidus.efi"), filepath.Join(b.dir, "sidus.efi")
	s.uki(unsigned, "--stub", hostStub)
	s.dhcp(DHCPOptions{Router: ServerAddr, Extra: s.httpBoot("sidus.efi")})

	if content, err := os.ReadFile(unsigned); err != nil || os.WriteFile(offered, content, 0o644) != nil {
		t.Fatal(err)
	}
	g := b.powerOn(GuestOptions{Firmware: UEFI, Variables: keys, QEMU: withoutPXE})
	if _, err := g.Expect(s.ctx, `(?i)access denied|security violation`); err != nil {
		t.Fatal(err)
	}
	g.Kill()

	s.sign(k, unsigned, offered)
	g = b.powerOn(GuestOptions{Firmware: UEFI, Variables: keys, QEMU: withoutPXE})
	s.same(g, []answer{
		{"uname -r", s.release},
		{"od -An -tu1 -j4 /sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c 2>/dev/null || " +
			"{ mount -t efivarfs efivarfs /sys/firmware/efi/efivars; od -An -tu1 -j4 /sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c; }", "1"},
		{"grep -o 'sidus.rw=[a-z]*' /proc/cmdline", "sidus.rw=tmpfs"},
	})
	// Debian 12's stub does not tell the URL, so DHCP is asked.
	s.cameFrom(g, secondAddr, "DHCP's URL for HTTP boot")
	if asked := s.asked(server); !strings.Contains(asked, "GET /sidus.efi") {
		t.Errorf("the image did not come by HTTP:\n%s", asked)
	}
}

// TestUKIProfiles boots a unified kernel image with both labels after the stub of a
// Debian 13 tree, which knows profiles: the first one counts.
func TestUKIProfiles(t *testing.T) {
	t.Parallel()
	Soak(t)
	s := newSiteOf(t, Variant{Suite: "trixie", Packages: []string{"systemd-boot-efi"}})
	s.image = s.build(lunProfile)
	b := &bootServer{site: s, dir: t.TempDir()}
	s.nfs(Export{}, NFSOptions{})
	b.http()
	s.dhcp(DHCPOptions{Router: ServerAddr, Extra: s.httpBoot("sidus.efi")})
	s.uki(filepath.Join(b.dir, "sidus.efi"), "--label", "tmpfs,iscsi", "--append-tmpfs", "from=tmpfs")
	g := b.powerOn(GuestOptions{Firmware: UEFI, QEMU: withoutPXE})
	s.same(g, []answer{
		{"uname -r", s.release},
		{"grep -o 'sidus.rw=[a-z]* from=[a-z]*' /proc/cmdline", "sidus.rw=tmpfs from=tmpfs"},
	})
	s.cameFrom(g, secondAddr, "DHCP's URL for HTTP boot")
}

// newestStub is Debian 13 with the EFI stub of Debian's next version, 262 in November
// 2026: since 258 it tells the URL that it came from.
var newestStub = Variant{Suite: "trixie", Script: `
echo 'deb http://deb.debian.org/debian forky main' >/etc/apt/sources.list.d/forky.list
apt-get update -qq -o Acquire::Check-Valid-Until=false # Mirrors may have an older state of it.
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -t forky systemd-boot-efi
apt-get clean
rm -rf /var/lib/apt/lists/* /etc/apt/sources.list.d/forky.list
`}

// TestUKIDeviceURL boots a unified kernel image whose stub tells where it came from, in an
// EFI variable: /init asks nobody else.
func TestUKIDeviceURL(t *testing.T) {
	t.Parallel()
	Soak(t)
	s := newSiteOf(t, newestStub)
	b := &bootServer{site: s, dir: t.TempDir()}
	s.nfs(Export{}, NFSOptions{})
	b.http()
	dhcp := s.dhcp(DHCPOptions{Router: ServerAddr, Extra: s.httpBoot("sidus.efi")})
	s.uki(filepath.Join(b.dir, "sidus.efi"))
	g := b.powerOn(GuestOptions{Firmware: UEFI, QEMU: withoutPXE})
	s.cameFrom(g, secondAddr, "EFI variable LoaderDeviceURL")
	s.same(g, []answer{{"grep -c efivarfs /proc/mounts || true", "0"}}) // systemd mounts it.
	if strings.Contains(dhcp.Log(), "DHCPINFORM") {
		t.Errorf("DHCP was asked for the URL:\n%s", dhcp.Log())
	}
}
