/* SPDX-License-Identifier: MIT
 *
 * Messages by their descriptors, with libprotobuf: the only C++ of the tool, behind a C header. No
 * exception leaves it.
 */
#include "cli/reflect.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/util/json_util.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace pb = google::protobuf;

namespace {

class Errors : public pb::DescriptorPool::ErrorCollector {
  public:
    void AddError(const std::string &file, const std::string &element, const pb::Message *,
                  ErrorLocation, const std::string &message) override {
        if (first.empty())
            first = file + ": " + element + ": " + message;
    }
    std::string first;
};

struct Names {
    std::string name, service, input, output, comment;
};

void say(char *text, const std::string &what) {
    (void) snprintf(text, REFLECT_TEXT, "%s", what.c_str());
}

char *copy(const std::string &from) {
    char *to = static_cast<char *>(malloc(from.size() + 1));

    if (to) {
        memcpy(to, from.data(), from.size());
        to[from.size()] = 0;
    }
    return to;
}

} // namespace

struct reflect {
    pb::DescriptorPool pool;
    pb::DynamicMessageFactory factory{&pool};
    std::vector<const pb::FileDescriptor *> files;
    std::vector<Names> names;
    std::vector<reflect_method> methods;
};

namespace {

void add_methods(struct reflect &reflect, const pb::ServiceDescriptor *service) {
    for (int i = 0; i < service->method_count(); i++) {
        const pb::MethodDescriptor *method = service->method(i);
        pb::SourceLocation location;
        std::string comment;

        if (method->GetSourceLocation(&location))
            comment = location.leading_comments + location.trailing_comments;
        while (!comment.empty() && strchr(" \n", comment.back()))
            comment.pop_back();
        comment.erase(0, comment.find_first_not_of(' '));
        reflect.names.push_back({method->full_name(), service->full_name(),
                                 method->input_type()->full_name(),
                                 method->output_type()->full_name(), comment});
        reflect.methods.push_back({nullptr, nullptr, nullptr, nullptr, nullptr,
                                   method->client_streaming(), method->server_streaming()});
    }
}

/* protoc writes each field's JSON name; where it is the usual one the source need not say it. */
std::string usual_json_name(const std::string &name) {
    std::string json;
    bool upper = false;

    for (char c : name) {
        if (c != '_')
            json += upper && c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
        upper = c == '_';
    }
    return json;
}

void plain_names(pb::DescriptorProto *type) {
    for (pb::FieldDescriptorProto &field : *type->mutable_field())
        if (field.json_name() == usual_json_name(field.name()))
            field.clear_json_name();
    for (pb::DescriptorProto &nested : *type->mutable_nested_type())
        plain_names(&nested);
}

int build(struct reflect &reflect, const void *set, size_t size, char *text) {
    pb::FileDescriptorSet files;
    Errors errors;

    if (size > INT32_MAX || !files.ParseFromArray(set, static_cast<int>(size))) {
        say(text, "the descriptors are no FileDescriptorSet");
        return -EINVAL;
    }
    for (pb::FileDescriptorProto &proto : *files.mutable_file()) {
        for (pb::DescriptorProto &type : *proto.mutable_message_type())
            plain_names(&type);
        const pb::FileDescriptor *file = reflect.pool.BuildFileCollectingErrors(proto, &errors);

        if (!file) {
            say(text, "the descriptors make no sense: " + errors.first);
            return -EINVAL;
        }
        reflect.files.push_back(file);
        for (int i = 0; i < file->service_count(); i++)
            add_methods(reflect, file->service(i));
    }
    for (size_t i = 0; i < reflect.names.size(); i++) { /* which don't move any more */
        const Names &names = reflect.names[i];
        reflect_method &method = reflect.methods[i];

        method.name = names.name.c_str();
        method.service = names.service.c_str();
        method.input = names.input.c_str();
        method.output = names.output.c_str();
        method.comment = names.comment.c_str();
    }
    return 0;
}

std::unique_ptr<pb::Message> message_of(struct reflect &reflect, const char *type, char *text) {
    const pb::Descriptor *descriptor = reflect.pool.FindMessageTypeByName(type);

    if (!descriptor) {
        say(text, std::string("the descriptors have no message ") + type);
        return nullptr;
    }
    return std::unique_ptr<pb::Message>(reflect.factory.GetPrototype(descriptor)->New());
}

int from_json(struct reflect &reflect, const char *type, const std::string &json, char **ret_data,
              size_t *ret_size, char *text) {
    std::unique_ptr<pb::Message> message = message_of(reflect, type, text);
    std::string bytes;
    char *data;

    if (!message)
        return -ENOENT;
    pb::util::Status status = pb::util::JsonStringToMessage(json, message.get());
    if (!status.ok()) {
        say(text, "no " + std::string(type) + ": " + std::string(status.message()));
        return -EINVAL;
    }
    if (!message->SerializeToString(&bytes)) {
        say(text, "fields of " + std::string(type) + " are missing: " +
                      message->InitializationErrorString());
        return -EINVAL;
    }
    data = copy(bytes);
    if (!data)
        return -ENOMEM;
    *ret_data = data;
    *ret_size = bytes.size();
    return 0;
}

int to_json(struct reflect &reflect, const char *type, const void *bytes, size_t size,
            char **ret_json, size_t *ret_size, char *text) {
    std::unique_ptr<pb::Message> message = message_of(reflect, type, text);
    pb::util::JsonPrintOptions options;
    std::string json;
    char *data;

    if (!message)
        return -ENOENT;
    if (size > INT32_MAX || !message->ParseFromArray(bytes, static_cast<int>(size))) {
        say(text, "the bytes are no " + std::string(type));
        return -EINVAL;
    }
    options.always_print_primitive_fields = true;
    options.preserve_proto_field_names = true;
    pb::util::Status status = pb::util::MessageToJsonString(*message, &json, options);
    if (!status.ok()) {
        say(text, "a " + std::string(type) + " that has no JSON: " + std::string(status.message()));
        return -EINVAL;
    }
    data = copy(json);
    if (!data)
        return -ENOMEM;
    *ret_json = data;
    *ret_size = json.size();
    return 0;
}

std::string source_of(const struct reflect &reflect) {
    pb::DebugStringOptions options;
    std::string all;

    options.include_comments = true;
    for (const pb::FileDescriptor *file : reflect.files) {
        if (file->name().rfind("google/protobuf/", 0) == 0)
            continue;
        if (!all.empty())
            all += "\n";
        all += "// " + file->name() + "\n" + file->DebugStringWithOptions(options);
    }
    return all;
}

} // namespace

const char *reflect_missing(void) {
    return nullptr;
}

int reflect_new(const void *set, size_t size, struct reflect **ret_reflect, char *text) try {
    std::unique_ptr<struct reflect> made(new struct reflect);
    int rc;

    (void) pb::SetLogHandler(nullptr); /* what is wrong is said here */
    rc = build(*made, set, size, text);
    if (rc == 0)
        *ret_reflect = made.release();
    return rc;
} catch (const std::exception &error) {
    say(text, error.what());
    return -EINVAL;
}

struct reflect *reflect_free(struct reflect *reflect) {
    delete reflect;
    return nullptr;
}

const struct reflect_method *reflect_methods(const struct reflect *reflect, size_t *ret_count) {
    *ret_count = reflect->methods.size();
    return reflect->methods.data();
}

int reflect_from_json(struct reflect *reflect, const char *type, const char *json, size_t size,
                      char **ret_data, size_t *ret_size, char *text) try {
    return from_json(*reflect, type, std::string(json, size), ret_data, ret_size, text);
} catch (const std::exception &error) {
    say(text, error.what());
    return -EINVAL;
}

int reflect_to_json(struct reflect *reflect, const char *type, const void *data, size_t size,
                    char **ret_json, size_t *ret_size, char *text) try {
    return to_json(*reflect, type, data, size, ret_json, ret_size, text);
} catch (const std::exception &error) {
    say(text, error.what());
    return -EINVAL;
}

char *reflect_source(const struct reflect *reflect) try {
    return copy(source_of(*reflect));
} catch (const std::exception &) {
    return nullptr;
}
