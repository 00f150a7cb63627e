package machine

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"thaw/guest/control"
)

// The kernel's network is set by netlink, in four requests that are written here: package net and the libraries that
// need it would be most of the guest's size. Source: rtnetlink(7), netlink(7).

// setNetwork gives the machine its address and the way out.
func setNetwork(n *control.Network) error {
	link, err := linkIndex("eth0")
	if err != nil {
		return err
	}
	if n.MTU > 0 {
		change := linkMessage(link, 0)
		if err := talk(unix.RTM_NEWLINK, 0, attribute(change, unix.IFLA_MTU, number(uint32(n.MTU)))); err != nil {
			return fmt.Errorf("MTU of %d: %w", n.MTU, err)
		}
	}
	if err := addAddress("eth0", n.Address); err != nil {
		return err
	}
	if err := linkUp("eth0"); err != nil {
		return err
	}
	if !n.Gateway.IsValid() {
		return nil
	}
	// struct rtmsg
	route := []byte{familyOf(n.Gateway), 0, 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_BOOT, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST, 0, 0, 0, 0}
	route = attribute(attribute(route, unix.RTA_GATEWAY, n.Gateway.AsSlice()), unix.RTA_OIF, number(uint32(link)))
	if err := talk(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, route); err != nil {
		return fmt.Errorf("route by %s: %w", n.Gateway, err)
	}
	return nil
}

// platform is the address on the loopback at which the platform serves in the sandbox, as on the service: see Platform in
// sandbox/host/network.
var platform = netip.MustParsePrefix("169.254.100.1/32")

func addAddress(name string, a netip.Prefix) error {
	link, err := linkIndex(name)
	if err != nil {
		return err
	}
	ip := a.Addr().AsSlice()
	// struct ifaddrmsg
	address := []byte{familyOf(a.Addr()), byte(a.Bits()), 0, unix.RT_SCOPE_UNIVERSE}
	address = attribute(append(address, number(uint32(link))...), unix.IFA_LOCAL, ip)
	if err := talk(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, attribute(address, unix.IFA_ADDRESS, ip)); err != nil {
		return fmt.Errorf("address %s of %s: %w", a, name, err)
	}
	return nil
}

func familyOf(a netip.Addr) byte {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// linkUp lets a network device work.
func linkUp(name string) error {
	link, err := linkIndex(name)
	if err != nil {
		return err
	}
	if err := talk(unix.RTM_NEWLINK, 0, linkMessage(link, unix.IFF_UP)); err != nil {
		return fmt.Errorf("device %s: %w", name, err)
	}
	return nil
}

// linkIndex is the kernel's number of a network device.
func linkIndex(name string) (int32, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request); err != nil {
		return 0, fmt.Errorf("device %s: %w", name, err)
	}
	return int32(request.Uint32()), nil
}

// linkMessage is a struct ifinfomsg that sets flags.
func linkMessage(link int32, flags uint32) []byte {
	b := append([]byte{unix.AF_UNSPEC, 0, 0, 0}, number(uint32(link))...)
	return append(append(b, number(flags)...), number(flags)...)
}

func number(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// attribute appends a struct rtattr, filled up to four bytes.
func attribute(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, kind), value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// talk makes one request and waits for the kernel's word on it.
func talk(kind, flags uint16, body []byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	head := number(uint32(unix.SizeofNlMsghdr + len(body)))
	head = binary.NativeEndian.AppendUint16(head, kind)
	head = binary.NativeEndian.AppendUint16(head, unix.NLM_F_REQUEST|unix.NLM_F_ACK|flags)
	head = append(head, make([]byte, 8)...) // sequence and port
	if err := unix.Sendto(fd, append(head, body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	answer := make([]byte, 4<<10)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return os.NewSyscallError("recvfrom", err)
	}
	if n < unix.SizeofNlMsghdr+4 || binary.NativeEndian.Uint16(answer[4:]) != unix.NLMSG_ERROR {
		return fmt.Errorf("netlink: no word of %d bytes", n)
	}
	if code := int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:])); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}
