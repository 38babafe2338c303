"""A client that knows nothing but the address: protocol by reflection, requests as plain JSON."""

import csv

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_reflection.v1alpha import reflection_pb2
from service import CUSTOMERS, import_customers, run


class Reflected:
    """Calls methods by name with requests as JSON, as grpcurl does."""

    def __init__(self, channel):
        self.channel = channel
        self.database = ProtoReflectionDescriptorDatabase(channel)
        self.pool = DescriptorPool(self.database)

    def call(self, method, request):
        service, name = method.rsplit("/", 1)
        described = self.pool.FindServiceByName(service).methods_by_name[name]
        ask = message_factory.GetMessageClass(described.input_type)
        answer = message_factory.GetMessageClass(described.output_type)
        call = self.channel.unary_unary(
            f"/{method}",
            request_serializer=ask.SerializeToString,
            response_deserializer=answer.FromString,
        )
        message = json_format.ParseDict(request, ask(), descriptor_pool=self.pool)
        return json_format.MessageToDict(
            call(message), preserving_proto_field_name=True, descriptor_pool=self.pool
        )


def customers():
    with open(CUSTOMERS, newline="") as file:
        return list(csv.DictReader(file))


def counts_equal_those_of_the_csv_module(address):
    import_customers(address)
    rows = customers()
    expected = {
        "contract = 'One year'": sum(row["contract"] == "One year" for row in rows),
        "contract = 'Month-to-month' AND internet_service = 'Fiber optic'": sum(
            row["contract"] == "Month-to-month" and row["internet_service"] == "Fiber optic" for row in rows
        ),
        "tenure <= 6 AND churn = 'Yes'": sum(int(row["tenure"]) <= 6 and row["churn"] == "Yes" for row in rows),
        "total_charges IS NOT SET": sum(row["total_charges"] == "" for row in rows),
        "monthly_charges > 100.0 AND NOT senior_citizen = TRUE": sum(
            float(row["monthly_charges"]) > 100 and row["senior_citizen"] == "false" for row in rows
        ),
    }
    assert expected["contract = 'Month-to-month' AND internet_service = 'Fiber optic'"] == 2128
    with grpc.insecure_channel(address) as channel:
        client = Reflected(channel)
        for filter_text, count in expected.items():
            answer = client.call("headcount.v1.QueryService/Count", {"filter": filter_text})
            assert int(answer["count"]) == count, (filter_text, answer, count)


def plain_json_is_enough_to_write_and_check(address):
    with grpc.insecure_channel(address) as channel:
        client = Reflected(channel)
        update = {
            "user_id": "u1",
            "set": {"plan": {"string_value": "pro"}, "age": {"int64_value": "41"}},
            "add_to_set": {"tags": {"elements": ["news"]}},
        }
        client.call("headcount.v1.IngestService/Write", {"updates": [update]})
        request = {"user_id": "u1", "filters": ["plan = 'pro'", "tags HAS ANY ('sport')"]}
        answer = client.call("headcount.v1.QueryService/Check", request)
        assert answer["members"] == [True, False], answer


def both_versions_of_reflection_list_the_services(address):
    wanted = {
        f"headcount.v1.{name}Service" for name in ("Admin", "Ingest", "Query", "Schema", "User")
    }
    with grpc.insecure_channel(address) as channel:
        assert wanted <= set(ProtoReflectionDescriptorDatabase(channel).get_services())
        # The messages of both versions are the same; only the name of the service differs.
        for version in ("v1", "v1alpha"):
            listed = channel.stream_stream(
                f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
                request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
                response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
            )
            answers = listed(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
            names = {service.name for service in next(answers).list_services_response.service}
            assert wanted <= names, (version, names)
            assert "grpc.health.v1.Health" in names


if __name__ == "__main__":
    run(
        [
            counts_equal_those_of_the_csv_module,
            plain_json_is_enough_to_write_and_check,
            both_versions_of_reflection_list_the_services,
        ]
    )
